package exchange

import (
	"fmt"
	"slices"
	"strings"
)

// permission is what an access token must carry to be let in by a protocol.
type permission struct {
	scope string // delegated, in scp
	role  string // application, in roles
}

var (
	imapPermission = permission{scope: "IMAP.AccessAsUser.All", role: "IMAP.AccessAsApp"}
	pop3Permission = permission{scope: "POP.AccessAsUser.All", role: "POP.AccessAsApp"}
	smtpPermission = permission{scope: "SMTP.Send", role: "SMTP.SendAsApp"}
)

// exchangeAppID is Exchange Online's own application id, which some access
// tokens name as their audience in place of its URL.
const exchangeAppID = "00000002-0000-0ff1-ce00-000000000000"

// principal judges an access token for a protocol. The error is for the record
// only: Exchange gives no reason on the wire.
func (x *Exchange) principal(raw string, need permission) (Principal, error) {
	who, err := x.dir.CheckAccessToken(raw)
	if err != nil {
		return Principal{}, fmt.Errorf("access token refused: %w", err)
	}
	if !x.dir.Now().Before(who.Expires) {
		return who, fmt.Errorf("access token expired at %s", who.Expires.UTC().Format("2006-01-02 15:04:05 MST"))
	}
	switch strings.TrimSuffix(strings.ToLower(who.Audience), "/") {
	case "https://outlook.office.com", "https://outlook.office365.com", exchangeAppID:
	default:
		return who, fmt.Errorf("access token is for audience %q, not for Exchange", who.Audience)
	}
	if !slices.Contains(who.Scopes, need.scope) && !slices.Contains(who.Roles, need.role) {
		return who, fmt.Errorf("access token has neither the scope %s nor the role %s", need.scope, need.role)
	}
	return who, nil
}

// opens says why a signed-in principal cannot open a mailbox; "" if it can.
func (x *Exchange) opens(who Principal, asked string, box Mailbox, found bool) string {
	switch {
	case !found:
		return fmt.Sprintf("there is no mailbox %s", asked)
	case !box.Licensed:
		return fmt.Sprintf("%s has no Exchange licence", box.Address)
	case !x.dir.MayOpen(who, box.Address):
		name := who.UPN
		if name == "" {
			name = "application " + who.AppID
		}
		return fmt.Sprintf("%s has no Full Access to %s", name, box.Address)
	}
	return ""
}
