// The interactive scatter: one trace a class, so that a class can be hidden; 3-D, or 2-D where the embedding is.
"use strict";
const drawScatter = () => {
  const data = JSON.parse(document.getElementById("scatter-data").textContent);
  const plot = document.getElementById("scatter");
  const choice = document.getElementById("scatter-head");
  const sphere = document.getElementById("scatter-sphere");
  const chips = document.getElementById("scatter-classes");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const classes = [...new Set(data.labels)].sort((one, other) => one - other);
  const MOST_CHIPS = 60; // with more classes all are one trace: their number is read by hovering
  const OPTIONS = { responsive: true, displaylogo: false, scrollZoom: true, showSendToCloud: false, plotlyServerURL: "" };
  const hidden = new Set();

  const onSphere = (columns) => {
    const lengths = columns[0].map((_, n) => Math.hypot(...columns.map((column) => column[n])) || 1);
    return columns.map((column) => column.map((value, n) => value / lengths[n]));
  };

  const traces = (head) => {
    const columns = sphere.checked && head.spherical ? onSphere(head.points) : head.points;
    const groups = classes.length <= MOST_CHIPS ? classes : [null];
    return groups.map((label) => {
      const chosen = data.labels.flatMap((own, n) => (label === null || own === label ? [n] : []));
      const own = chosen.map((n) => data.labels[n]);
      const trace = {
        type: columns.length === 3 ? "scatter3d" : "scatter", mode: "markers", name: String(label ?? "all"),
        visible: !hidden.has(label), text: own.map((each) => `class ${each}`), hovertemplate: `%{text}<br>%{x:.3g}, %{y:.3g}${columns.length === 3 ? ", %{z:.3g}" : ""}<extra></extra>`,
        marker: { size: columns.length === 3 ? 2.6 : 5, color: own.map((each) => data.colours[each % data.colours.length]), opacity: 0.9 },
      };
      ["x", "y", "z"].slice(0, columns.length).forEach((letter, axis) => { trace[letter] = chosen.map((n) => columns[axis][n]); });
      return trace;
    });
  };

  const layout = (head) => {
    const style = getComputedStyle(document.documentElement);
    const [ink, line] = ["--ink", "--line"].map((name) => style.getPropertyValue(name).trim());
    const axis = (title) => ({ title: { text: title }, color: ink, gridcolor: line, zerolinecolor: line, showbackground: false });
    const shared = {
      showlegend: false, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: ink },
      title: { text: head.title, font: { size: 14 } }, margin: { l: 40, r: 10, t: 40, b: 40 }, uirevision: "same view",
    };
    if (head.points.length === 2) {
      return { ...shared, dragmode: "pan", xaxis: axis(head.axes[0]), yaxis: { ...axis(head.axes[1]), scaleanchor: "x" } };
    }
    const [x, y, z] = head.axes.map(axis);
    return { ...shared, margin: { l: 0, r: 0, t: 40, b: 0 }, scene: { xaxis: x, yaxis: y, zaxis: z, aspectmode: "cube", camera: { eye: { x: 1.75, y: 1.75, z: 0.9 } } } };
  };

  const chosen = () => data.heads[choice.selectedIndex];
  const draw = () => {
    const head = chosen();
    document.getElementById("scatter-sphere-label").hidden = !head.spherical;
    return Plotly.react(plot, traces(head), layout(head), OPTIONS);
  };

  for (const head of data.heads) choice.add(new Option(head.head));
  if (classes.length <= MOST_CHIPS) {
    for (const label of classes) {
      const chip = document.createElement("button");
      chip.type = "button";
      chip.ariaPressed = "true";
      chip.innerHTML = `<i></i>${label}`;
      chip.firstChild.style.background = data.colours[label % data.colours.length];
      chip.addEventListener("click", () => {
        const shown = hidden.delete(label) || !hidden.add(label);
        chip.ariaPressed = String(shown);
        Plotly.restyle(plot, { visible: shown }, [classes.indexOf(label)]);
      });
      chips.append(chip);
    }
  }
  choice.addEventListener("change", draw);
  sphere.addEventListener("change", draw);
  dark.addEventListener("change", draw);

  const TURN = { ArrowLeft: [-0.15, 0], ArrowRight: [0.15, 0], ArrowUp: [0, 0.15], ArrowDown: [0, -0.15] };
  const ZOOM = { "+": 0.9, "=": 0.9, "-": 1.1 };
  plot.addEventListener("keydown", (event) => {
    const turn = TURN[event.key] ?? [0, 0];
    const zoom = ZOOM[event.key] ?? 1;
    if (chosen().points.length !== 3 || !(event.key in TURN || event.key in ZOOM)) return;
    event.preventDefault();
    const { x, y, z } = plot._fullLayout.scene.camera.eye;
    const reach = zoom * Math.hypot(x, y, z);
    const around = Math.atan2(y, x) + turn[0];
    const up = Math.min(1.5, Math.max(-1.5, Math.asin(z / Math.hypot(x, y, z)) + turn[1]));
    const eye = { x: reach * Math.cos(up) * Math.cos(around), y: reach * Math.cos(up) * Math.sin(around), z: reach * Math.sin(up) };
    Plotly.relayout(plot, { "scene.camera.eye": eye });
  });

  draw();
};

// the plotting library is packed, since it would otherwise be most of the page
const unpacked = async () => {
  const bytes = Uint8Array.from(atob(document.getElementById("plotly").textContent), (letter) => letter.charCodeAt(0));
  const code = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(code).text();
  document.head.append(script);
};
unpacked().then(drawScatter, () => {
  document.getElementById("scatter").textContent = "The interactive scatter needs a browser of 2023 or later; the pictures below do not.";
});
