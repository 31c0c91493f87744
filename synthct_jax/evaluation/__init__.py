"""What a translation is worth: measured, compared with real CT, and reported.

`run` evaluates a checkpoint, `watch` each new one of a training, with a `curve` over
steps; `comparison` sets several evaluations side by side. `evaluate` reads
subject after subject (`cases`), has them measured (`measure`, `collection_metrics`),
compares collections (`collection`), and sums up (`summaries`) into `results`, which
`report` shows. `catalogue` says what every metric is called and means.
"""
