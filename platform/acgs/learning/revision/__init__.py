"""Critique-revision (Bai et al. 2022, arXiv:2212.08073): responses that breach are criticised and revised."""
