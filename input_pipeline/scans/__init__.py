"""DICOM and NIfTI: volumes out of files, synthetic CT into files."""
