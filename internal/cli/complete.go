package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/mailgrant/mailgrant/client"
)

// completionTime is how long a shell may be kept waiting for suggestions.
const completionTime = 2 * time.Second

// suggest asks the server for the words that a shell may offer. A server that is
// not there offers none.
func (s *shell) suggest(cmd *cobra.Command, args []string, words func(context.Context, *client.Client) ([]string, error)) ([]string, cobra.ShellCompDirective) {
	const nothingElse = cobra.ShellCompDirectiveNoFileComp
	if len(args) > 0 {
		return nil, nothingElse
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
	defer cancel()
	c, err := s.client()
	if err != nil {
		return nil, nothingElse
	}
	found, err := words(ctx, c)
	if err != nil {
		return nil, nothingElse
	}
	return found, nothingElse
}

func (s *shell) completeAddresses(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return s.suggest(cmd, args, func(ctx context.Context, c *client.Client) (out []string, err error) {
		all, err := client.Collect(c.Mailboxes(ctx), 0)
		for _, m := range all {
			out = append(out, m.Address)
		}
		return out, err
	})
}

func (s *shell) completeProviders(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return s.suggest(cmd, args, func(ctx context.Context, c *client.Client) (out []string, err error) {
		all, err := client.Collect(c.Providers(ctx), 0)
		for _, p := range all {
			out = append(out, p.Name)
		}
		return out, err
	})
}

func (s *shell) completeWebhooks(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return s.suggest(cmd, args, func(ctx context.Context, c *client.Client) (out []string, err error) {
		all, err := client.Collect(c.Webhooks(ctx), 0)
		for _, w := range all {
			out = append(out, w.Name)
		}
		return out, err
	})
}

func (s *shell) completeApps(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return s.suggest(cmd, args, func(ctx context.Context, c *client.Client) (out []string, err error) {
		all, err := client.Collect(c.Apps(ctx), 0)
		for _, a := range all {
			out = append(out, a.Name)
		}
		return out, err
	})
}

func (s *shell) completeOperators(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return s.suggest(cmd, args, func(ctx context.Context, c *client.Client) (out []string, err error) {
		all, err := client.Collect(c.Operators(ctx), 0)
		for _, o := range all {
			out = append(out, o.Name)
		}
		return out, err
	})
}
