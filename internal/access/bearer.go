package access

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
)

// cached is an API key that was looked up a moment ago.
type cached struct {
	key   APIKey
	until time.Time
}

// cacheLife is how long a key that was changed, renewed or removed may go on as
// it was in another process; in this one it stops at once.
const cacheLife = 2 * time.Second

// forgetKeys makes the next call of every key look it up anew.
func (a *Access) forgetKeys() {
	a.mu.Lock()
	clear(a.cache)
	a.ended++
	a.mu.Unlock()
}

// Authenticate finds the caller behind the value of an Authorization header
// (RFC 6750 section 2.1).
func (a *Access) Authenticate(ctx context.Context, header string, from netip.Addr) (Caller, error) {
	header = strings.TrimSpace(header)
	if header == "" {
		return Caller{}, unauthenticated("access.no_api_key", "An API key is needed.",
			"Send “Authorization: Bearer mgk_…”. An operator makes a key with “mailgrant app create”.")
	}
	scheme, value, _ := strings.Cut(header, " ")
	value = strings.TrimSpace(value)
	switch {
	case !strings.EqualFold(scheme, "Bearer"):
		return Caller{}, unauthenticated("access.api_key_form", "The Authorization header does not begin with “Bearer”.",
			"Send “Authorization: Bearer mgk_…”, with the whole API key after the space.")
	case !strings.HasPrefix(value, keyPrefix), len(value) > 200:
		return Caller{}, unauthenticated("access.api_key_form", "What was sent is not an API key of Mailgrant: one begins with mgk_ and has 47 characters.",
			"Send “Authorization: Bearer mgk_…”, with the key as it was shown when it was made. An operator makes a new one with “mailgrant app create”.")
	}
	h := sha256.Sum256([]byte(value))
	k, err := a.lookUp(ctx, h)
	if err != nil {
		return Caller{}, err
	}
	now := a.now()
	if !k.ExpiresAt.IsZero() && !now.Before(k.ExpiresAt) {
		return Caller{}, unauthenticated("access.api_key_expired", fmt.Sprintf("The API key %s ended on %s.", k.Name, k.ExpiresAt.UTC().Format(time.DateOnly)), "Have an operator give it a later end date, or make a new one.")
	}
	if len(k.Networks) > 0 && !slices.ContainsFunc(k.Networks, func(n string) bool {
		p, err := netip.ParsePrefix(n)
		return err == nil && plainPrefix(p).Contains(from.Unmap().WithZone(""))
	}) {
		return Caller{}, forbidden(fmt.Sprintf("The API key %s may not be used from %s.", k.Name, from))
	}
	a.noteUse(ctx, h, k, now)
	return Caller{Actor: event.Actor{Kind: event.ActorAPIKey, Name: k.Name}, May: k.May, Mailboxes: k.Mailboxes}, nil
}

// lookUp finds a key by hash, remembering good ones for a moment so that a busy
// caller does not cost a query each time.
func (a *Access) lookUp(ctx context.Context, h [sha256.Size]byte) (APIKey, error) {
	now := a.now()
	a.mu.Lock()
	c, ok := a.cache[h]
	ended := a.ended
	a.mu.Unlock()
	if ok && now.Before(c.until) {
		return c.key, nil
	}
	k, err := a.need.Keys.APIKeyByHash(ctx, h[:])
	if fault.KindOf(err) == fault.NotFound && err != nil {
		return APIKey{}, unauthenticated("access.api_key_unknown", "This API key is not known here: it was mistyped, removed, or belongs to another server.",
			"Compare it with the key as it was shown when it was made, and see with “mailgrant app list” whether it is still there. An operator makes a new one with “mailgrant app create”.")
	}
	if err != nil {
		return APIKey{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if ended != a.ended {
		return k, nil
	}
	if len(a.cache) > 10_000 {
		clear(a.cache)
	}
	a.cache[h] = cached{key: k, until: now.Add(cacheLife)}
	return k, nil
}

// noteUse keeps when a key was last used, to the minute.
func (a *Access) noteUse(ctx context.Context, h [sha256.Size]byte, k APIKey, now time.Time) {
	if now.Sub(k.LastUsed) < grain {
		return
	}
	a.mu.Lock()
	c, ok := a.cache[h]
	noted := ok && now.Sub(c.key.LastUsed) < grain
	if ok {
		c.key.LastUsed = now
		a.cache[h] = c
	}
	a.mu.Unlock()
	if !noted {
		a.need.Keys.UseAPIKey(ctx, k.ID, now)
	}
}
