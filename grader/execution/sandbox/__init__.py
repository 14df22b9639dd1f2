"""Where a student's kernel runs: `tiers` says what this machine can do, `provisioner` starts a kernel in it."""
