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
	"unique"
)

// Placeholder is what every printed Secret looks like.
const Placeholder = "[secret]"

// Secret is a value that must not be seen: a refresh, access or ID token, a
// client secret, an app password, an authorization code, a code verifier.
// The zero value is "no secret".
//
// The value stands behind a handle, not in the struct: fmt does not call the
// methods of an unexported field and would print a plain string held there.
// Two secrets with the same value are ==.
type Secret struct{ value unique.Handle[string] }

// NewSecret wraps a value on its way in.
func NewSecret(value string) Secret {
	if value == "" {
		return Secret{}
	}
	return Secret{value: unique.Make(value)}
}

// Reveal gives the value. Every call of it is a place to review.
func (s Secret) Reveal() string {
	if s.IsZero() {
		return ""
	}
	return s.value.Value()
}

// IsZero reports whether there is no secret.
func (s Secret) IsZero() bool { return s == Secret{} }

// Equal compares in constant time.
func (s Secret) Equal(o Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(o.Reveal())) == 1
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
