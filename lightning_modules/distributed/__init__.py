"""One model on several processes: values of all workers, and batch norm over all of them."""
