"""Evaluation of synthetic CT: metrics, tables and reports.

`evaluate` evaluates a checkpoint: it reads `subjects`, computes the metrics of
`per_subject` and `distribution` for the network and the baselines (`methods`), and
writes one table (`results`) and a `report`. `metric_definitions` defines every metric.
`watch` evaluates each new checkpoint of a training and draws a `curve`; `comparison`
compares several runs; `validation` chooses among checkpoints during a training.
"""
