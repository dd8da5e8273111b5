// Filter rows by words and choices. A form names the element whose rows it filters.
"use strict";
for (const form of document.querySelectorAll("form.filter")) {
  const area = document.getElementById(form.getAttribute("data-of"));
  const rows = Array.from(area.querySelectorAll("tbody tr"), (row) => [row, row.textContent.toLowerCase()]);
  const boards = area.querySelectorAll("section");
  const choices = form.querySelectorAll("select");
  const filter = () => {
    const words = form.elements.find.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const [row, text] of rows) {
      row.hidden =
        words.some((word) => !text.includes(word)) ||
        Array.from(choices).some((choice) => choice.value && row.dataset[choice.name] !== choice.value);
      shown += !row.hidden;
    }
    for (const board of boards) board.hidden = !board.querySelector("tbody tr:not([hidden])");
    form.querySelector("output").textContent = `${shown} of ${rows.length}`;
  };
  for (const event of ["input", "change"]) form.addEventListener(event, filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  filter();
}
