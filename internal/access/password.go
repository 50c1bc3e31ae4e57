package access

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"github.com/mailgrant/mailgrant/internal/fault"
)

// cost is what a hash takes.
type cost struct {
	time, memory uint32 // passes, KiB
	threads      uint8
}

// fullCost is 64 MiB, three passes, four lanes: the second recommended choice of
// RFC 9106 section 4, for machines that spare no 2 GiB for a sign-in.
func fullCost() cost { return cost{time: 3, memory: 64 * 1024, threads: 4} }

// testCost is next to nothing.
func testCost() cost { return cost{time: 1, memory: 64, threads: 1} }

const (
	argonSalt = 16
	argonKey  = 32
)

// MinPassword is the fewest characters of an operator's password (NIST SP
// 800-63B: length counts, composition rules do not).
const MinPassword = 12

// maxPassword is the most bytes of a password.
const maxPassword = 1024

// checkPassword refuses a password that is too short or too long.
func checkPassword(password string) error {
	if len(password) > maxPassword {
		return &fault.Error{
			ID: "access.long_password", Kind: fault.Invalid, Field: "password",
			Text:   fmt.Sprintf("The password has %d bytes; at most %d are allowed.", len(password), maxPassword),
			Who:    []fault.Who{fault.Operator},
			Remedy: "Choose a shorter one.",
		}
	}
	if n := utf8.RuneCountInString(password); n < MinPassword {
		return &fault.Error{
			ID: "access.weak_password", Kind: fault.Invalid, Field: "password",
			Text:   fmt.Sprintf("The password has %d characters; at least %d are needed.", n, MinPassword),
			Who:    []fault.Who{fault.Operator},
			Remedy: "Choose a longer one: a sentence is easiest to remember.",
		}
	}
	return nil
}

// hashPassword gives the encoded Argon2id hash of a password.
func hashPassword(c cost, password string) (string, error) {
	if err := checkPassword(password); err != nil {
		return "", err
	}
	salt := make([]byte, argonSalt)
	if _, err := rand.Read(salt); err != nil {
		return "", fmt.Errorf("make a salt: %w", err)
	}
	key := argon2.IDKey([]byte(password), salt, c.time, c.memory, c.threads, argonKey)
	return encodeHash(c, salt, key), nil
}

func encodeHash(c cost, salt, key []byte) string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, c.memory, c.time, c.threads,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(key))
}

// passwordMatches compares a password with an encoded hash in constant time. A
// hash of costs beyond our own is refused, so that a damaged row cannot make a
// sign-in arbitrarily expensive.
func passwordMatches(encoded, password string) bool {
	parts := strings.Split(encoded, "$")
	if len(parts) != 6 || parts[1] != "argon2id" || len(password) > maxPassword {
		return false
	}
	var version int
	var c cost
	if _, err := fmt.Sscanf(parts[2], "v=%d", &version); err != nil || version != argon2.Version {
		return false
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &c.memory, &c.time, &c.threads); err != nil {
		return false
	}
	if most := fullCost(); c.memory > 4*most.memory || c.time > 4*most.time || c.threads == 0 || c.time == 0 {
		return false
	}
	salt, err := base64.RawStdEncoding.DecodeString(parts[4])
	if err != nil {
		return false
	}
	want, err := base64.RawStdEncoding.DecodeString(parts[5])
	if err != nil || len(want) != argonKey {
		return false
	}
	got := argon2.IDKey([]byte(password), salt, c.time, c.memory, c.threads, uint32(len(want)))
	return subtle.ConstantTimeCompare(got, want) == 1
}
