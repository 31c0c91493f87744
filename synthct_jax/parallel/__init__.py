"""The device mesh, the sharding of arrays, and all communication between devices."""
