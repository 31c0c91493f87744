"""MR to synthetic CT by CycleGAN: training, translation, evaluation."""
