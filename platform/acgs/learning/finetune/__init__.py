"""Fine-tuning of language models: configuration, LoRA, the training loop with and without privacy, evaluation, report.

Nothing here knows Ray: `train_jobs.constitutional` runs it on workers.
"""
