// Package app builds what the configuration says and runs it: starts in order, stops in order.
package app
