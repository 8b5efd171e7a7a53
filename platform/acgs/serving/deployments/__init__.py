"""What becomes of versions at work: deployments step by step, and the signed documents that stand behind them."""
