package message

import (
	"net/mail"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"github.com/mailgrant/mailgrant/internal/fault"
)

// Address normalises an addr-spec (RFC 5322 section 3.4.1) for comparing:
// surrounding space removed, the domain in its ASCII form, everything in lower
// case. (RFC 5321 section 2.4 lets a local part be case-sensitive; no provider
// of mailboxes treats it so, and the contract compares without case.)
func Address(s string) (string, error) {
	s = strings.TrimSpace(s)
	at := strings.LastIndexByte(s, '@')
	if at <= 0 || at == len(s)-1 || len(s) > 254 || strings.ContainsAny(s, " \t\r\n<>,;\"") {
		return "", addressFault(s, nil)
	}
	domain, err := idna.Lookup.ToASCII(s[at+1:])
	if err != nil {
		return "", addressFault(s, err)
	}
	out := strings.Map(lower, s[:at]) + "@" + strings.ToLower(domain)
	if _, err := mail.ParseAddress(out); err != nil {
		return "", addressFault(s, err)
	}
	return out, nil
}

// lower folds the case of a letter. One outside ASCII never becomes one within:
// Unicode's lower case of K (the Kelvin sign) and İ is k and i, and whoever gets
// such a name at a provider would own the address of somebody else.
func lower(r rune) rune {
	if l := unicode.ToLower(r); r < utf8.RuneSelf || l >= utf8.RuneSelf {
		return l
	}
	return r
}

// Domain gives the part after the last @.
func Domain(address string) string { return address[strings.LastIndexByte(address, '@')+1:] }

// SameAddress compares two addresses as Address would; an address that cannot
// be normalised equals nothing.
func SameAddress(a, b string) bool {
	x, err := Address(a)
	if err != nil {
		return false
	}
	y, err := Address(b)
	return err == nil && x == y
}

func addressFault(s string, err error) error {
	return &fault.Error{
		ID: "message.address", Kind: fault.Invalid,
		Text: "“" + fault.Shorten(s, 80) + "” is not a mail address.", Who: []fault.Who{fault.Operator},
		Remedy: "Write it as name@domain, without a display name.", Err: err,
	}
}
