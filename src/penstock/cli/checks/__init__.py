"""What `penstock doctor` looks at, by domain. A check yields findings; `penstock.cli.doctor` lists and runs them."""
