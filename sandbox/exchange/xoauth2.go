package exchange

import (
	"bytes"
	"errors"
)

// maxInitialResponse bounds a decoded XOAUTH2 response; Entra's access tokens
// stay below half of it.
const maxInitialResponse = 32 << 10

// errMalformedXOAUTH2 is the one reason ParseXOAUTH2 gives: the wire never
// says more than "failed".
var errMalformedXOAUTH2 = errors.New(`the XOAUTH2 response is not "user=<mailbox>^Aauth=Bearer <access token>^A^A"`)

// ParseXOAUTH2 takes apart the decoded client response of XOAUTH2,
//
//	user=<mailbox> ^A auth=Bearer <access token> ^A ^A
//
// (^A is the byte 0x01, without the spaces), and returns mailbox and raw
// access token. It accepts exactly this form: one user, one auth, nothing
// else, neither of them empty and no control characters within. The scheme
// name is compared without regard to case.
func ParseXOAUTH2(response []byte) (mailbox, accessToken string, err error) {
	if len(response) > maxInitialResponse {
		return "", "", errMalformedXOAUTH2
	}
	body, ok := bytes.CutSuffix(response, []byte("\x01\x01"))
	if !ok {
		return "", "", errMalformedXOAUTH2
	}
	user, auth, ok := bytes.Cut(body, []byte{1})
	if !ok {
		return "", "", errMalformedXOAUTH2
	}
	user, ok = bytes.CutPrefix(user, []byte("user="))
	if !ok || len(user) == 0 {
		return "", "", errMalformedXOAUTH2
	}
	const scheme = "auth=Bearer "
	if len(auth) <= len(scheme) || !bytes.EqualFold(auth[:len(scheme)], []byte(scheme)) {
		return "", "", errMalformedXOAUTH2
	}
	auth = auth[len(scheme):]
	if hasControl(user) || hasControl(auth) || bytes.IndexByte(auth, ' ') >= 0 {
		return "", "", errMalformedXOAUTH2
	}
	return string(user), string(auth), nil
}

func hasControl(b []byte) bool {
	return bytes.ContainsFunc(b, func(r rune) bool { return r < 0x20 || r == 0x7f })
}
