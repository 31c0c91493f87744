"""Results as pages that need no network: `page` is the report of one evaluation."""
