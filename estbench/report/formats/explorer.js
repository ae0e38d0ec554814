"use strict";
// The numbers of the explorer, apart from the page, so that tests can ask for them.
const GumbelSoftmax = {
  softmax(values) {
    const top = Math.max(...values);
    const weights = values.map((value) => Math.exp(value - top));
    const total = weights.reduce((a, b) => a + b, 0);
    return weights.map((weight) => weight / total);
  },

  // Uniform numbers in (0, 1) from a seed (mulberry32), so that a sample can be drawn again.
  random(seed) {
    let state = seed >>> 0;
    return () => {
      state = (state + 0x6d2b79f5) >>> 0;
      let mixed = Math.imul(state ^ (state >>> 15), state | 1);
      mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
      return (((mixed ^ (mixed >>> 14)) >>> 0) + 0.5) / 4294967296;
    };
  },

  gumbel(count, random) {
    return Array.from({ length: count }, () => -Math.log(-Math.log(random())));
  },

  soft(logits, noise, temperature) {
    return this.softmax(logits.map((logit, i) => (logit + noise[i]) / temperature));
  },

  hard(soft) {
    const winner = soft.indexOf(Math.max(...soft));
    return soft.map((_, i) => (i === winner ? 1 : 0));
  },

  cost(point, targets) {
    return point.reduce((sum, y, i) => sum + (y - targets[i]) ** 2, 0);
  },

  // d/dlogits of the expected cost of a class drawn from softmax(logits).
  exactGradient(logits, targets) {
    const probabilities = this.softmax(logits);
    const costs = logits.map((_, k) => this.cost(logits.map((_, i) => (i === k ? 1 : 0)), targets));
    const mean = costs.reduce((sum, cost, k) => sum + probabilities[k] * cost, 0);
    return probabilities.map((probability, k) => probability * (costs[k] - mean));
  },

  // d/dlogits of the cost at the sample; "at" is where the cost's derivative is taken.
  gradient(soft, at, targets, temperature) {
    const slopes = at.map((y, i) => 2 * (y - targets[i]));
    const mean = soft.reduce((sum, y, i) => sum + y * slopes[i], 0);
    return soft.map((y, i) => (y * (slopes[i] - mean)) / temperature);
  },
};
