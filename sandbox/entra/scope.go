package entra

import (
	"slices"
	"strings"
)

// The resources of this world, as they stand in scopes and in the claim `aud`.
const (
	ResourceGraph       = "https://graph.microsoft.com"
	ResourceOutlook     = "https://outlook.office.com"
	ResourceOutlook365  = "https://outlook.office365.com"
	scopeDefault        = ".default"
	scopeOfflineAccess  = "offline_access"
	scopeOpenID         = "openid"
	scopeProfile        = "profile"
	scopeEmail          = "email"
	scopeUserRead       = "User.Read"
	longestScopeRequest = 4096
)

// scope is one permission on one resource. Permissions of OpenID Connect have no resource.
type scope struct {
	resource, name string
	// bare scopes of Graph were asked for without their resource, and are answered so.
	bare bool
}

// isOpenID says whether the scope asks about the user rather than for a resource.
func (s scope) isOpenID() bool { return s.resource == "" }

func (s scope) String() string {
	if s.isOpenID() || s.bare {
		return s.name
	}
	return s.resource + "/" + s.name
}

// key is the scope with the two names of Exchange made one, for comparing and for storing a consent.
func (s scope) key() string {
	if s.resource == ResourceOutlook365 {
		s.resource = ResourceOutlook
	}
	if s.isOpenID() {
		s.resource = ResourceGraph
	}
	return s.resource + "/" + s.name
}

// permission is a delegated permission and the words in which the consent page asks for it.
type permission struct{ name, words string }

// permissionsOf lists what can be asked of a resource; both names of Exchange have the same.
func permissionsOf(resource string) []permission {
	mail := []permission{
		{"IMAP.AccessAsUser.All", "Read and write access to your mail via IMAP"},
		{"POP.AccessAsUser.All", "Read and write access to your mail via POP"},
		{"SMTP.Send", "Send mail as you via SMTP AUTH"},
		{"Mail.Read", "Read your mail"},
		{"Mail.ReadWrite", "Read and write access to your mail"},
		{"Mail.Send", "Send mail as you"},
		{"Mail.Read.Shared", "Read mail you can access"},
		{"Mail.ReadWrite.Shared", "Read and write mail you can access"},
		{"Mail.Send.Shared", "Send mail on behalf of others"},
		{scopeDefault, "Everything an administrator has granted to this app"},
	}
	switch resource {
	case ResourceOutlook, ResourceOutlook365:
		return append(mail, permission{"EWS.AccessAsUser.All", "Access your mailboxes via Exchange Web Services"})
	case ResourceGraph:
		return append(mail, permission{scopeUserRead, "Sign you in and read your profile"})
	case "":
		return []permission{
			{scopeOpenID, "Sign you in"},
			{scopeProfile, "View your basic profile"},
			{scopeEmail, "View your email address"},
			{scopeOfflineAccess, "Maintain access to data you have given it access to"},
		}
	}
	return nil
}

// words is the sentence on the consent page.
func (s scope) words() string {
	for _, p := range permissionsOf(s.resource) {
		if p.name == s.name {
			return p.words
		}
	}
	return s.String()
}

// parseScopes reads a scope parameter. Names are compared without case and come back as the resource spells them. A name
// without a resource means Graph.
func parseScopes(text string, appName, tenantName string) ([]scope, *problem) {
	if len(text) > longestScopeRequest {
		return nil, refuse(70011, "It is too long.")
	}
	var out []scope
	for word := range strings.FieldsSeq(text) {
		s, refusal := parseScope(word, appName, tenantName)
		if refusal != nil {
			return nil, refusal
		}
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	if len(out) == 0 {
		return nil, refuse(900144, "scope")
	}
	for _, s := range out {
		if s.name == scopeDefault && slices.ContainsFunc(out, func(o scope) bool { return o.name != scopeDefault && !o.isOpenID() }) {
			return nil, refuse(70011, ".default scope can't be combined with resource-specific scopes.")
		}
	}
	return out, nil
}

func parseScope(word, appName, tenantName string) (scope, *problem) {
	s := scope{resource: ResourceGraph, name: word, bare: true}
	if strings.Contains(word, "://") {
		cut := strings.LastIndexByte(word, '/')
		s = scope{resource: strings.ToLower(strings.TrimRight(word[:cut], "/")), name: word[cut+1:]}
	}
	if s.resource == ResourceGraph {
		for _, p := range permissionsOf("") {
			if strings.EqualFold(p.name, s.name) {
				return scope{name: p.name}, nil
			}
		}
	}
	offered := permissionsOf(s.resource)
	if offered == nil {
		return scope{}, refuse(500011, s.resource, tenantName)
	}
	for _, p := range offered {
		if strings.EqualFold(p.name, s.name) {
			return scope{resource: s.resource, name: p.name, bare: s.bare}, nil
		}
	}
	return scope{}, refuse(650053, appName, s.name, s.resource)
}

// parseStored reads scopes as consents store them; what cannot be read is left out.
func parseStored(words []string) []scope {
	var out []scope
	for _, word := range words {
		s, refusal := parseScope(word, "", "")
		if refusal == nil && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// resources lists the resources named, in the order of their first scope. The names of Exchange count as one, first come.
func resources(scopes []scope) []string {
	var out, keys []string
	for _, s := range scopes {
		if s.isOpenID() {
			continue
		}
		key := scope{resource: s.resource}.key()
		if !slices.Contains(keys, key) {
			keys = append(keys, key)
			out = append(out, s.resource)
		}
	}
	return out
}

func contains(scopes []scope, wanted scope) bool {
	return slices.ContainsFunc(scopes, func(s scope) bool { return s.key() == wanted.key() })
}

func hasOpenID(scopes []scope, name string) bool { return contains(scopes, scope{name: name}) }

// missing lists the scopes asked for that nobody has consented to. `.default` asks for whatever was granted before.
func missing(asked, consented []scope) []scope {
	var out []scope
	for _, s := range asked {
		granted := contains(consented, s)
		if s.name == scopeDefault {
			granted = slices.ContainsFunc(consented, func(c scope) bool { return scope{resource: c.resource}.key() == scope{resource: s.resource}.key() })
		}
		if !granted {
			out = append(out, s)
		}
	}
	return out
}

func texts(scopes []scope) []string {
	out := make([]string, 0, len(scopes))
	for _, s := range scopes {
		out = append(out, s.String())
	}
	return out
}

func storedForm(scopes []scope) []string {
	out := make([]string, 0, len(scopes))
	for _, s := range scopes {
		out = append(out, s.key())
	}
	return out
}
