package access

// What tests compare with: the hash that unknown names are checked against,
// and the bound of the limiter's memory.
func (a *Access) Decoy() string { return decoy(a.cost) }

const MaxBuckets = maxBuckets

// Buckets counts what the limiter remembers.
func (a *Access) Buckets() int { return len(a.attempts.seen) }

// Fail counts a failure without the cost of a password.
func (a *Access) Fail(name string) { a.attempts.failed(a.now(), "name:"+name) }
