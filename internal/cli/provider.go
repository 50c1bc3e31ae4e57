package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mailgrant/mailgrant/client"
)

func (s *shell) providers() *cobra.Command {
	return s.asking(group("provider", "Authorization servers and the app registrations there",
		`A provider is an organisation's authorization server, with the app registration
that Mailgrant uses there. Mailboxes name the provider they belong to.`,
		s.providerList(), s.providerShow(), s.providerCreate(), s.providerUpdate(), s.providerDelete(), s.providerVerify()))
}

func (s *shell) providerList() *cobra.Command {
	return s.withJSON(&cobra.Command{
		Use: "list", Short: "List the providers", Args: noArguments, Example: "  mailgrant provider list",
		Long: "Lists the providers with the nearest end of their client secrets.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			all, err := client.Collect(c.Providers(cmd.Context()), 0)
			if err != nil {
				return err
			}
			if s.json {
				return s.print(all)
			}
			if len(all) == 0 {
				s.remark("There is no provider yet; “mailgrant provider create --help” says how to add one.")
				return nil
			}
			var rows [][]string
			for _, p := range all {
				rows = append(rows, []string{p.Name, p.Kind, orElse(p.Tenant, p.Issuer), p.ClientID, s.secretsInWords(p.ClientSecrets)})
			}
			s.table([]string{"NAME", "KIND", "TENANT OR ISSUER", "CLIENT ID", "CLIENT SECRET"}, rows)
			return nil
		},
	})
}

func orElse(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// secretsInWords says how many client secrets there are, and when the one that
// lasts longest ends.
func (s *shell) secretsInWords(all []client.ClientSecret) string {
	if len(all) == 0 {
		return "none"
	}
	words := fmt.Sprintf("%d", len(all))
	last := all[0].ExpiresAt
	for _, secret := range all {
		if secret.ExpiresAt.IsZero() {
			return words
		}
		if secret.ExpiresAt.After(last) {
			last = secret.ExpiresAt
		}
	}
	if last.Before(s.now()) {
		return words + ", ended " + s.ago(last)
	}
	return words + ", ends " + s.ago(last)
}

func (s *shell) providerShow() *cobra.Command {
	return s.withJSON(&cobra.Command{
		Use: "show NAME", Short: "Show one provider", Args: arguments("NAME"), Example: "  mailgrant provider show contoso",
		Long:              "Shows one provider, with the redirect URI that has to be registered there. Client secrets are named by their ids and never shown.",
		ValidArgsFunction: s.completeProviders,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			p, err := c.Provider(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return s.showProvider(p)
		},
	})
}

func (s *shell) showProvider(p client.Provider) error {
	if s.json {
		return s.print(p)
	}
	prompt := ""
	if p.Authorize != nil {
		prompt = p.Authorize.Prompt
	}
	lines := []pair{
		{"Name", p.Name},
		{"Kind", p.Kind},
		{"Tenant", p.Tenant},
		{"Cloud", p.Cloud},
		{"Issuer", p.Issuer},
		{"Client ID", p.ClientID},
		{"Redirect URI to register", p.EffectiveRedirectURI},
		{"Prompt", prompt},
		{"Identity claim", p.IdentityClaim},
	}
	for _, name := range sortedKeys(p.Endpoints) {
		lines = append(lines, pair{"Endpoint " + name, p.Endpoints[name]})
	}
	if p.CAPEM != "" {
		lines = append(lines, pair{"Own CA", "yes"})
	}
	for _, secret := range p.ClientSecrets {
		end := "no end known"
		if !secret.ExpiresAt.IsZero() {
			end = "ends " + s.when(secret.ExpiresAt)
		}
		lines = append(lines, pair{"Client secret", secret.ID + ", " + end})
	}
	for _, f := range p.Profiles {
		lines = append(lines, pair{"Profile " + f.Name, strings.Join(f.Scopes, " ")})
	}
	lines = append(lines, pair{"Added", s.when(p.CreatedAt)}, pair{"Changed", s.when(p.UpdatedAt)})
	s.pairs(lines...)
	return nil
}

func sortedKeys(m map[string]string) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// providerFlags are a provider's settings on the command line.
type providerFlags struct {
	kind, tenant, cloud, issuer, clientID, redirectURI, prompt, identityClaim, caFile string

	secretFiles, secretEnvs, endpoints, profiles, dropSecrets []string
	secretExpires                                             string
	replaceSecrets                                            bool
}

func (f *providerFlags) add(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVar(&f.kind, "kind", "", "the `KIND` of provider; a wrong one is answered with the list of those there are")
	flags.StringVar(&f.tenant, "tenant", "", "the organisation's `TENANT`, where the kind has tenants: a domain or an id")
	flags.StringVar(&f.cloud, "cloud", "", "the `CLOUD`, where the kind has several")
	flags.StringVar(&f.issuer, "issuer", "", "the issuer's `URL`, where the kind has no tenants; its endpoints are discovered")
	flags.StringVar(&f.clientID, "client-id", "", "the app registration's client `ID`")
	flags.StringArrayVar(&f.secretFiles, "client-secret-file", nil, "`FILE` with a client secret, - for the standard input; may be repeated")
	flags.StringArrayVar(&f.secretEnvs, "client-secret-env", nil, "`NAME` of the environment variable that holds a client secret; may be repeated")
	flags.StringVar(&f.secretExpires, "client-secret-expires", "", "when the given client secrets end, as `DATE`; you are warned before")
	flags.StringVar(&f.redirectURI, "redirect-uri", "", "`URI` to use in place of the server's own; default: its public_url and /oauth/callback")
	flags.StringVar(&f.prompt, "prompt", "", "the `PROMPT` with which people are sent to sign in: login, select_account or omit; the default is safe")
	flags.StringVar(&f.identityClaim, "identity-claim", "", "the `CLAIM` that holds the mailbox address, where you vouch for it")
	flags.StringVar(&f.caFile, "ca-file", "", "`FILE` with a CA in PEM that is trusted for this provider and its mail servers")
	flags.StringArrayVar(&f.endpoints, "endpoint", nil, "an endpoint in place of the discovered one, as `NAME=URL`; may be repeated")
	flags.StringArrayVar(&f.profiles, "profile", nil, "scopes by hand, as `'NAME=SCOPE SCOPE'`; may be repeated")
}

// apply writes the flags that were given onto p.
func (f *providerFlags) apply(s *shell, cmd *cobra.Command, p *client.Provider) error {
	changed := cmd.Flags().Changed
	for _, one := range []struct {
		flag string
		from string
		into *string
	}{
		{"kind", f.kind, &p.Kind},
		{"tenant", f.tenant, &p.Tenant},
		{"cloud", f.cloud, &p.Cloud},
		{"issuer", f.issuer, &p.Issuer},
		{"client-id", f.clientID, &p.ClientID},
		{"redirect-uri", f.redirectURI, &p.RedirectURI},
		{"identity-claim", f.identityClaim, &p.IdentityClaim},
	} {
		if changed(one.flag) {
			*one.into = one.from
		}
	}
	if changed("prompt") {
		if p.Authorize = nil; f.prompt != "" {
			p.Authorize = &client.Authorize{Prompt: f.prompt}
		}
	}
	if changed("ca-file") {
		pem, err := s.readPEM(f.caFile)
		if err != nil {
			return err
		}
		p.CAPEM = pem
	}
	if changed("endpoint") {
		p.Endpoints = map[string]string{}
		for _, e := range f.endpoints {
			name, url, ok := strings.Cut(e, "=")
			if !ok || name == "" {
				return &usageError{text: "--endpoint is written as NAME=URL, for example token=https://idp.example/token."}
			}
			p.Endpoints[name] = url
		}
	}
	if changed("profile") {
		p.Profiles = nil
		for _, one := range f.profiles {
			name, scopes, ok := strings.Cut(one, "=")
			if !ok || name == "" || len(strings.Fields(scopes)) == 0 {
				return &usageError{text: "--profile is written as 'NAME=SCOPE SCOPE', for example 'read-only=openid offline_access imap'."}
			}
			p.Profiles = append(p.Profiles, client.Profile{Name: name, Scopes: strings.Fields(scopes)})
		}
	}
	return f.applySecrets(s, p)
}

// applySecrets puts new client secrets before the stored ones, so that one is
// rotated without an outage.
func (f *providerFlags) applySecrets(s *shell, p *client.Provider) error {
	var end client.ClientSecret
	if f.secretExpires != "" {
		var err error
		if end.ExpiresAt, err = moment("client-secret-expires", f.secretExpires); err != nil {
			return err
		}
	}
	fresh := []client.ClientSecret{}
	for _, file := range f.secretFiles {
		value, err := s.readSecret(file)
		if err != nil {
			return err
		}
		fresh = append(fresh, client.ClientSecret{Value: value, ExpiresAt: end.ExpiresAt})
	}
	for _, name := range f.secretEnvs {
		value := s.variable(name)
		if value == "" {
			return wrong("cli.empty_secret", "", fmt.Sprintf("The environment variable %s is not set.", shorten(name, 60)), "Set it to the client secret, or use --client-secret-file.", nil)
		}
		fresh = append(fresh, client.ClientSecret{Value: value, ExpiresAt: end.ExpiresAt})
	}
	if f.secretExpires != "" && len(fresh) == 0 {
		return missing("client-secret-file", "--client-secret-expires says when it ends.")
	}
	kept := p.ClientSecrets
	if f.replaceSecrets {
		kept = nil
	}
	for _, id := range f.dropSecrets {
		at := slices.IndexFunc(kept, func(c client.ClientSecret) bool { return c.ID == id })
		if at < 0 {
			return wrong("cli.no_such_secret", "", fmt.Sprintf("The provider has no client secret with the id %s.", shorten(id, 60)), "“mailgrant provider show” lists the ids.", nil)
		}
		kept = slices.Delete(slices.Clone(kept), at, at+1)
	}
	p.ClientSecrets = append(fresh, kept...)
	return nil
}

func (s *shell) providerCreate() *cobra.Command {
	var f providerFlags
	c := s.withJSON(&cobra.Command{
		Use: "create NAME", Short: "Add a provider", Args: arguments("NAME"),
		Long: `Adds a provider. Its client secret comes from a file, the standard input or an
environment variable, so that it is not in your shell's history; it is sealed
and never shown again.`,
		Example: `  mailgrant provider create contoso --kind microsoft --tenant contoso.onmicrosoft.com \
    --client-id 11111111-2222-3333-4444-555555555555 --client-secret-file secret.txt
  mailgrant provider create example --kind generic --issuer https://idp.example \
    --client-id mailgrant --client-secret-file secret.txt --client-secret-expires 2027-05-01
  pass show idp/mailgrant | mailgrant provider create example --kind generic \
    --issuer https://idp.example --client-id mailgrant --client-secret-file -`,
		RunE: func(cmd *cobra.Command, args []string) error {
			for flag, value := range map[string]string{"kind": f.kind, "client-id": f.clientID} {
				if value == "" {
					return missing(flag, "a provider needs --kind and --client-id.")
				}
			}
			p := client.Provider{Name: args[0]}
			if err := f.apply(s, cmd, &p); err != nil {
				return err
			}
			c, err := s.client()
			if err != nil {
				return err
			}
			p, err = c.CreateProvider(cmd.Context(), p)
			if err != nil || s.json {
				return s.printIf(err, p)
			}
			s.say("The provider %s was added.", plain(p.Name))
			s.say("Register exactly this redirect URI there:  %s", plain(p.EffectiveRedirectURI))
			s.say("Then see whether it can work:              mailgrant provider verify %s", plain(p.Name))
			return nil
		},
	})
	f.add(c)
	return c
}

// printIf prints v unless err is one.
func (s *shell) printIf(err error, v any) error {
	if err != nil {
		return err
	}
	return s.print(v)
}

func (s *shell) providerUpdate() *cobra.Command {
	var f providerFlags
	c := s.withJSON(&cobra.Command{
		Use: "update NAME", Short: "Change a provider", Args: arguments("NAME"), ValidArgsFunction: s.completeProviders,
		Long: `Changes what is given and leaves the rest. A new client secret is put before
the stored ones, which are still tried: so a secret is rotated without an outage.
A change of issuer, tenant or client id asks for the secret again, and suspends
the grants of the provider's mailboxes until they are verified anew.`,
		Example: `  mailgrant provider update contoso --client-secret-file new.txt --client-secret-expires 2028-05-01
  mailgrant provider update contoso --drop-client-secret 0197c9a2-…`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			p, err := c.Provider(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if err := f.apply(s, cmd, &p); err != nil {
				return err
			}
			p, err = c.PutProvider(cmd.Context(), args[0], p)
			if err != nil || s.json {
				return s.printIf(err, p)
			}
			s.say("The provider %s was changed.", plain(p.Name))
			return nil
		},
	})
	f.add(c)
	c.Flags().StringArrayVar(&f.dropSecrets, "drop-client-secret", nil, "remove the stored client secret with this `ID`; may be repeated")
	c.Flags().BoolVar(&f.replaceSecrets, "replace-client-secrets", false, "remove every stored client secret; the given ones stay alone")
	return c
}

func (s *shell) providerDelete() *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use: "delete NAME", Short: "Remove a provider that no mailbox uses", Args: arguments("NAME"), ValidArgsFunction: s.completeProviders,
		Long:    "Removes a provider with its client secrets. One that mailboxes use is not removed.",
		Example: "  mailgrant provider delete contoso",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			if err := s.confirm(yes, fmt.Sprintf("Remove the provider %s with its client secrets?", plain(args[0]))); err != nil {
				return err
			}
			if err := c.DeleteProvider(cmd.Context(), args[0]); err != nil {
				return err
			}
			s.say("The provider %s was removed.", plain(args[0]))
			return nil
		},
	}
	addYes(c, &yes)
	return c
}

func (s *shell) providerVerify() *cobra.Command {
	return &cobra.Command{
		Use: "verify NAME", Short: "Ask the provider whether the settings can work", Args: arguments("NAME"), ValidArgsFunction: s.completeProviders,
		Long: `Asks the provider itself, as far as that can be asked before anybody signs in:
whether it answers, whether tenant, client id and client secret are right.
Exit code 1 when something is wrong.`,
		Example: "  mailgrant provider verify contoso",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			if err := c.VerifyProvider(cmd.Context(), args[0]); err != nil {
				return err
			}
			s.say("The provider %s answers and found nothing wrong with the settings.", plain(args[0]))
			if p, err := c.Provider(cmd.Context(), args[0]); err == nil && len(p.ClientSecrets) == 0 {
				s.say("No client secret is set, so none was asked about.")
			}
			return nil
		},
	}
}

// longestPEM bounds a CA file.
const longestPEM = 1 << 20

// readPEM reads a CA file; an empty name takes the CA away.
func (s *shell) readPEM(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	b, err := s.readFile(file, longestPEM)
	if err != nil {
		return "", err
	}
	if strings.Contains(string(b), "PRIVATE KEY-----") {
		return "", wrong("cli.private_key", "", fmt.Sprintf("The file %s holds a private key; nothing was sent.", shown(file)), "Give a file with the CA's certificate alone.", nil)
	}
	return string(b), nil
}
