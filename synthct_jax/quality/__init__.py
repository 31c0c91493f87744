"""Quality of one patient's synthetic CT without a reference CT.

`features` measures MR and synthetic CT, `limits` says what is usual among healthy
people, `calibrate` computes those limits for a model file, `judgement` compares a
patient with them, and `sheet` is the page that a physician reads.
"""
