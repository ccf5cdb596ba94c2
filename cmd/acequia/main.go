// Command acequia runs pipelines and asks what they made.
package main

import "github.com/acequia-io/acequia"

func main() { acequia.Main() }
