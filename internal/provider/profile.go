package provider

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/mailgrant/mailgrant/internal/fault"
)

var profileName = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9._-]{0,61}[a-zA-Z0-9])?$`)

// CheckProfiles finds what is wrong with a record's profiles in every kind. Any
// scope token of RFC 6749 section 3.3 may stand there; whether the provider
// knows it is asked when a mailbox uses the profile.
func CheckProfiles(r Record) (found []error) {
	bad := func(field, text, remedy string) {
		found = append(found, &fault.Error{
			ID: "provider.profile", Kind: fault.Invalid, Field: field, Text: text, Remedy: remedy, Who: []fault.Who{fault.Operator},
		})
	}
	first := map[string]int{}
	for i, p := range r.Profiles {
		at := fmt.Sprintf("profiles[%d]", i)
		if !profileName.MatchString(p.Name) {
			bad(at+".name", fmt.Sprintf("“%s” cannot be the name of a profile.", fault.Shorten(p.Name, 60)), "Use letters, digits, dots and dashes, at most 63 of them, beginning and ending with a letter or digit.")
		} else if at, twice := first[p.Name]; twice {
			bad(fmt.Sprintf("profiles[%d].name", i), fmt.Sprintf("The profile %s stands here twice; first as profiles[%d].", p.Name, at), "Keep one, or give the other another name.")
		} else {
			first[p.Name] = i
		}
		if p.GrantType != "" && p.GrantType != "authorization_code" {
			bad(at+".grant_type", fmt.Sprintf("The grant type “%s” cannot be used.", fault.Shorten(p.GrantType, 40)), "Use authorization_code.")
		}
		if len(p.Scopes) == 0 {
			bad(at+".scopes", "The profile has no scopes.", "List them, or leave the profile out.")
		}
		for j, s := range p.Scopes {
			if !scopeToken(s) {
				bad(fmt.Sprintf("%s.scopes[%d]", at, j), fmt.Sprintf("“%s” is not a scope: one is a word without spaces, quotes and backslashes.", fault.Shorten(s, 80)), "Give each scope as an item of its own.")
			}
		}
	}
	return found
}

// scopeToken follows RFC 6749 section 3.3.
func scopeToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool { return c <= 0x20 || c > 0x7e || c == '"' || c == '\\' })
}
