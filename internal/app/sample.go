package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
)

// game is what the form takes as JSON.
type game struct {
	Title       string `json:"title"`
	Developer   string `json:"developer"`
	Genre       string `json:"genre"`
	Year        int    `json:"year"`
	Competitive bool   `json:"competitive"`
}

// madeUp gives the nth made-up game; the same number is always the same game.
func madeUp(n int) game {
	r := rand.New(rand.NewPCG(20, uint64(n))) //nolint:gosec // made-up data
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	genre := pick("Action", "Adventure", "Fighting", "Misc", "Platform", "Puzzle", "Racing", "Role-Playing", "Shooter",
		"Simulation", "Sports", "Strategy", "Other")
	title := pick("Río", "Shadow", "Crystal", "Last", "Neon", "Viento", "Iron", "Lost", "Solar", "Hidden") + " " +
		pick("Quest", "Arena", "Valley", "Legends", "Gardens", "Frontera", "Odyssey", "Circuit", "Kingdom", "Acequia")
	if sequel := r.IntN(5); sequel > 1 {
		title += fmt.Sprintf(" %d", sequel)
	}
	competitive := map[string]int{"Fighting": 85, "Shooter": 70, "Sports": 75, "Racing": 65, "Strategy": 50}[genre]
	return game{
		Title: title, Genre: genre, Year: 1980 + min(r.IntN(46), r.IntN(60)),
		Developer: pick("Estudio Ceibo", "Brightwater", "Kumo Works", "Molino Games", "Northlight", "Tres Ríos",
			"Pixel Foundry", "N/A", "Huerta Interactive", "Redstone Labs"),
		Competitive: r.IntN(100) < max(competitive, 15),
	}
}

// sampleClients is how many requests addSample keeps under way.
const sampleClients = 16

// addSample registers n made-up games through the form, as anyone would.
func addSample(ctx context.Context, client *http.Client, url string, n int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(n, sampleClients) {
		all.Go(func() {
			for i := int(next.Add(1)); i <= n && ctx.Err() == nil; i = int(next.Add(1)) {
				if err := post(ctx, client, url, madeUp(i)); err != nil {
					cancel(fmt.Errorf("add sample game %d: %w", i, err))
				}
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

func post(ctx context.Context, client *http.Client, url string, g game) error {
	body, err := json.Marshal(g)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusCreated {
		return fmt.Errorf("the form answered %s: %s", answer.Status, text)
	}
	return nil
}
