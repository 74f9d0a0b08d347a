// Copy buttons, and the table of trials: sort by any column, show one head.
"use strict";
for (const button of document.querySelectorAll("button.copy")) {
  button.addEventListener("click", async () => {
    const source = document.getElementById(button.dataset.copies);
    try {
      await navigator.clipboard.writeText(source.textContent);
    } catch { // a page from disk may not be allowed to: the older way
      getSelection().selectAllChildren(source);
      document.execCommand("copy");
      getSelection().removeAllRanges();
    }
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
}

{
  const table = document.getElementById("trials-table");
  const body = table.tBodies[0];
  const headings = [...table.tHead.rows[0].cells];
  const value = (row, column) => {
    const cell = row.cells[column];
    const text = cell.dataset.value ?? cell.textContent.trim();
    const number = Number(text);
    return text === "" ? null : Number.isNaN(number) ? text : number;
  };
  const compare = (one, other) =>
    typeof one === "number" && typeof other === "number" ? one - other : String(one).localeCompare(String(other));

  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const first = heading.classList.contains("n") ? "descending" : "ascending";
      const second = first === "ascending" ? "descending" : "ascending";
      const order = heading.getAttribute("aria-sort") === first ? second : first;
      headings.forEach((each) => each.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const rows = [...body.rows].map((row) => [value(row, column), row]);
      rows.sort(([one], [other]) => (one === null) - (other === null) || sign * compare(one, other)); // empty ones last
      body.append(...rows.map(([, row]) => row));
    });
  });

  document.getElementById("trials-head").addEventListener("change", (event) => {
    let shown = 0;
    for (const row of body.rows) {
      row.hidden = Boolean(event.target.value) && row.dataset.head !== event.target.value;
      shown += !row.hidden;
    }
    document.getElementById("trials-count").textContent = `${shown} of ${body.rows.length} trials`;
  });
}
