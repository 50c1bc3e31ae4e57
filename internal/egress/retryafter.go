package egress

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// longestRetryAfter caps what a server may ask for, so that a wrong clock or a
// hostile answer cannot park a mailbox for years.
const longestRetryAfter = 24 * time.Hour

// RetryAfter reads a Retry-After field value (RFC 9110, section 10.2.3):
// seconds or an HTTP date. It is zero where the value is missing, unreadable or
// past, and at most 24 h.
func RetryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0
	}
	if s, err := strconv.ParseUint(value, 10, 63); err == nil {
		if s > uint64(longestRetryAfter/time.Second) {
			return longestRetryAfter
		}
		return time.Duration(s) * time.Second
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), longestRetryAfter)
}
