"""Sample tenants: a believable product to try everything on, the same each time it is made."""

from local.sample.bench import load_bench_posts, load_bench_tenant
from local.sample.tenants import load

__all__ = ["load", "load_bench_posts", "load_bench_tenant"]
