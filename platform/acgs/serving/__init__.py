"""Versions at work: what a served model folder holds, how each kind is loaded and asked, which slot answers whom.

Knows no cluster and no web framework: `serve_apps.models` runs it on Ray Serve.
"""
