"""From a judged corpus to a retrieval candidate (T1) with the evidence for or against it.

`plan` says what is tried, `passes` holds what the first stage gave for every query, `tuning` chooses on some queries,
`confirmation` measures on others, `package` runs all parts and writes the artifacts.
"""
