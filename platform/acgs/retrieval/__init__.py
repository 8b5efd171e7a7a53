"""Search over a corpus: lexical and dense legs, fusion, reranking under a budget, routing."""
