package cli

import (
	"github.com/spf13/cobra"

	"github.com/mailgrant/mailgrant/internal/cli/demo"
)

func (s *shell) demo() *cobra.Command {
	o := demo.Options{Out: s.out, Version: buildVersion().Version}
	c := &cobra.Command{
		Use: "demo", Short: "Play the story: the wrong person is signed in, and is caught", Args: noArguments,
		Long: `Runs a server and a made-up Microsoft 365 tenant side by side in a temporary folder,
says what to open in your browser and what to try, and tells what the webhook
receives. It needs no network, and leaves nothing behind when it is interrupted.

With --check it plays the whole story alone with a scripted browser, tells it step
by step, and ends: exit code 0 only when every step came out as it must.`,
		Example: `  mailgrant demo
  mailgrant demo --check`,
		RunE: func(cmd *cobra.Command, _ []string) error { return demo.Run(cmd.Context(), o) },
	}
	c.Flags().BoolVar(&o.Check, "check", false, "play the story alone, tell it, and end")
	return c
}
