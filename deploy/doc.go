// Package deploy holds the files with which acequia is run elsewhere. Its tests read all of them, and start nothing.
package deploy
