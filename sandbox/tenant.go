package sandbox

import (
	"slices"
	"strings"
	"time"

	"github.com/mailgrant/mailgrant/sandbox/directory"
	"github.com/mailgrant/mailgrant/sandbox/entra"
	"github.com/mailgrant/mailgrant/sandbox/exchange"
)

// tenant shows the world to Exchange in the words that Exchange asks in.
type tenant struct {
	world  *directory.World
	tokens *entra.Server
}

func (t tenant) CheckAccessToken(raw string) (exchange.Principal, error) {
	token, err := t.tokens.CheckAccessToken(raw)
	if err != nil {
		return exchange.Principal{}, err
	}
	return exchange.Principal{
		TenantID: token.TenantID, ObjectID: token.ObjectID, UPN: token.UserName, AppID: token.ClientID, Audience: token.Audience,
		Scopes: token.Scopes, Roles: token.Roles, Expires: token.ExpiresAt,
	}, nil
}

func (t tenant) Mailbox(address string) (exchange.Mailbox, bool) {
	found, ok := t.world.Mailbox(address)
	if !ok {
		return exchange.Mailbox{}, false
	}
	box := exchange.Mailbox{Address: found.Address, IMAPEnabled: !found.IMAPOff, POPEnabled: !found.POPOff, Licensed: true}
	if found.SMTPAuthOff {
		box.SubmissionAuth = exchange.SubmissionAuthOffForMailbox
	}
	return box, true
}

func (t tenant) HostsDomain(domain string) bool {
	return slices.ContainsFunc(t.world.Tenants(), func(one directory.Tenant) bool {
		return slices.ContainsFunc(one.Domains, func(d string) bool { return strings.EqualFold(d, domain) })
	})
}

func (t tenant) MayOpen(who exchange.Principal, address string) bool {
	box, user, ok := t.meet(who, address)
	if !ok {
		return false
	}
	if who.UPN == "" {
		return slices.Contains(box.FullAccess, who.AppID)
	}
	return box.OpensTo(user)
}

func (t tenant) MaySendAs(who exchange.Principal, signedInTo, from string) bool {
	box, user, ok := t.meet(who, from)
	if !ok {
		return false
	}
	if who.UPN == "" {
		return slices.Contains(box.SendAs, who.AppID) || slices.Contains(box.FullAccess, who.AppID) && box.Answers(signedInTo)
	}
	return box.SendsFor(user)
}

// meet finds the mailbox and, unless an app came in its own name, the user, who must be of the mailbox's tenant and not disabled.
func (t tenant) meet(who exchange.Principal, address string) (directory.Mailbox, directory.User, bool) {
	box, found := t.world.Mailbox(address)
	if !found || box.TenantID != who.TenantID {
		return box, directory.User{}, false
	}
	if who.UPN == "" {
		return box, directory.User{}, true
	}
	user, found := t.world.UserByID(who.ObjectID)
	return box, user, found && !user.Disabled
}

func (t tenant) Now() time.Time { return t.world.Now() }

func (t tenant) Fault(point exchange.FaultPoint, mailbox string) exchange.Fault {
	happening, active := t.world.TakeMailFault(directory.Point(point), mailbox)
	return exchange.Fault{Active: active, Reply: happening.Reply}
}

func (t tenant) Record(call exchange.Call) {
	t.world.RecordCall(directory.Call{
		At: call.At, Protocol: call.Protocol, Method: call.Command, User: call.UPN, Mailbox: call.Mailbox, Outcome: call.Reply, Reason: call.Reason,
	})
}
