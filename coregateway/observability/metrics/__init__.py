"""What the node counts and measures: numbers that every worker writes for itself and any worker reads as one.

families    names, kinds, labels and buckets, as data; the keys under which parts keep them
recorder    each finished exchange into its worker's part: counters and histograms
sampler     ten times a second the rest: what is under way, and how late the loop is
decided     what the node has decided, as numbers
reading     `Reader`: sums over all parts, at a moment
exposition  what was read, as text for Prometheus
worker      what of it runs in a worker, and `/metrics`
panels      what a Grafana dashboard shows of them
export      this dashboard and the alert rules, as files
"""
