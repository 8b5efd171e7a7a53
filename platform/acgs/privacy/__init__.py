"""Differential privacy as an account that is kept: what a run costs, what a data set has left, who spent it.

`accountants` turns steps into epsilon, `plan` fixes a run's public constants and its step limits before it starts,
`ledger` and `sql_ledger` keep what was spent, `budget` is the training loop's gate, `statement` what a model card says.
Only `accountants` computes, and loads torch when it does; nothing is imported here.
"""
