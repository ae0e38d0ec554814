"use strict";
(() => {
  const CLASSES = 4;
  const byId = (id) => document.getElementById(id);
  const shown = (value) => value.toFixed(3).replace("-", "−");
  const element = (tag, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  };
  const state = { weights: [0.5, 0.3, 0.15, 0.05], targets: [0.45, 0.1, 0.8, 0.3], seed: 1 };
  let noise = [];
  let sums;

  const temperature = () => Math.exp(Number(byId("tau").value));
  const logits = () => {
    const total = state.weights.reduce((a, b) => a + b, 0);
    return state.weights.map((weight) => Math.log(weight / total));
  };
  const forget = () => {
    const zeros = () => new Array(CLASSES).fill(0);
    sums = { count: 0, soft: zeros(), hard: zeros(), relaxed: zeros(), relaxed2: zeros(), through: zeros(), through2: zeros() };
  };
  const add = (to, values, power = 1) => values.forEach((value, i) => { to[i] += value ** power; });

  const draw = (count) => {
    const random = GumbelSoftmax.random(state.seed++);
    for (let i = 0; i < count; i += 1) {
      noise = GumbelSoftmax.gumbel(CLASSES, random);
      const soft = GumbelSoftmax.soft(logits(), noise, temperature());
      const hard = GumbelSoftmax.hard(soft);
      const relaxed = GumbelSoftmax.gradient(soft, soft, state.targets, temperature());
      const through = GumbelSoftmax.gradient(soft, hard, state.targets, temperature());
      sums.count += 1;
      add(sums.soft, soft);
      add(sums.hard, hard);
      add(sums.relaxed, relaxed);
      add(sums.relaxed2, relaxed, 2);
      add(sums.through, through);
      add(sums.through2, through, 2);
    }
  };

  const bar = (name, value, kind, text) => {
    const fill = element("b", { className: kind });
    fill.style.width = `${100 * value}%`;
    return element("div", { className: "bar" }, element("span", { textContent: name }),
      element("div", {}, fill), element("span", { textContent: text ?? shown(value) }));
  };
  const estimate = (sum, squares, i) => {
    const mean = sum[i] / sums.count;
    const variance = Math.max(0, squares[i] / sums.count - mean ** 2) * (sums.count / (sums.count - 1));
    return `${shown(mean)} ± ${shown(1.96 * Math.sqrt(variance / sums.count))}`;
  };

  const render = () => {
    const probabilities = GumbelSoftmax.softmax(logits());
    const soft = GumbelSoftmax.soft(logits(), noise, temperature());
    const hard = GumbelSoftmax.hard(soft);
    const indices = [...probabilities.keys()];
    byId("tau-shown").textContent = temperature().toFixed(2);
    byId("drawn").textContent = sums.count.toLocaleString("en");
    probabilities.forEach((probability, i) => { byId(`probability-${i}`).textContent = shown(probability); });
    byId("sample").replaceChildren(...indices.flatMap((i) => [
      bar(`soft ${i + 1}`, soft[i], "soft"), bar("hard", hard[i], "hard", String(hard[i]))]));
    byId("means").replaceChildren(...indices.flatMap((i) => [
      bar(`π ${i + 1}`, probabilities[i], "ink"),
      bar("soft", sums.soft[i] / sums.count, "soft"), bar("hard", sums.hard[i] / sums.count, "hard")]));
    const exact = GumbelSoftmax.exactGradient(logits(), state.targets);
    byId("gradients").tBodies[0].replaceChildren(...indices.map((i) => {
      const texts = [String(i + 1), shown(exact[i]), estimate(sums.relaxed, sums.relaxed2, i), estimate(sums.through, sums.through2, i)];
      return element("tr", {}, ...texts.map((textContent) => element("td", { textContent })));
    }));
  };
  const restart = () => { forget(); draw(1000); render(); };

  byId("classes").append(...state.weights.map((weight, i) => {
    const slider = element("input", { type: "range", min: 0.01, max: 1, step: 0.01, value: weight, ariaLabel: `weight of class ${i + 1}` });
    const target = element("input", { type: "number", step: 0.05, value: state.targets[i], ariaLabel: `target of class ${i + 1}` });
    slider.addEventListener("input", () => { state.weights[i] = Number(slider.value); restart(); });
    target.addEventListener("input", () => {
      if (Number.isFinite(target.valueAsNumber)) { state.targets[i] = target.valueAsNumber; restart(); }
    });
    return element("div", { className: "class" }, element("span", { textContent: `π ${i + 1}` }), slider,
      element("output", { id: `probability-${i}` }), element("span", { textContent: "t" }), target);
  }));
  byId("tau").addEventListener("input", restart);
  byId("resample").addEventListener("click", () => { draw(1); render(); });
  byId("thousand").addEventListener("click", () => { draw(1000); render(); });
  byId("forget").addEventListener("click", restart);
  restart();
})();
