"""What lies on the volumes: records, checkpoints, lease, champions, use."""
