"""Where a job runs: the port (:mod:`compute.base`) and its adapters."""
