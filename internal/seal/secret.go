// Package seal holds secrets: in memory as Secret, at rest as Sealed.
//
// A Secret prints, logs and marshals as a placeholder and comes out only
// through Reveal, which one can grep for. A Sealed value is the only form that
// a store accepts, so a refresh token in clear in the database does not
// compile. Sealing is AEAD with a rotating keyset (tink), bound by associated
// data to the row and field it belongs to: a sealed value moved to another row
// does not open.
package seal

import (
	"crypto/subtle"
	"fmt"
	"log/slog"
)

// Placeholder is what every printed Secret looks like.
const Placeholder = "[secret]"

// Secret is a value that must not be seen: a refresh, access or ID token, a
// client secret, an app password, an authorization code, a code verifier.
// The zero value is "no secret".
type Secret struct{ value string }

// NewSecret wraps a value on its way in.
func NewSecret(value string) Secret { return Secret{value: value} }

// Reveal gives the value. Every call of it is a place to review.
func (s Secret) Reveal() string { return s.value }

// IsZero reports whether there is no secret.
func (s Secret) IsZero() bool { return s.value == "" }

// Equal compares in constant time.
func (s Secret) Equal(o Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s.value), []byte(o.value)) == 1
}

// String gives the placeholder, whatever the value.
func (s Secret) String() string { return Placeholder }

// GoString gives the placeholder for %#v.
func (s Secret) GoString() string { return Placeholder }

// Format gives the placeholder for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(Placeholder)) }

// LogValue gives the placeholder to slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(Placeholder) }

// MarshalText gives the placeholder, so that JSON, YAML and XML show it too.
func (s Secret) MarshalText() ([]byte, error) { return []byte(Placeholder), nil }
