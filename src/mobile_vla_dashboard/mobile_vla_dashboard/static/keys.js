// Keys of the page, besides STOP, which has its own.

// Fields that take the letters and arrows which otherwise record, judge and drive. A slider or a box is none of them.
export const typing = (element) => Boolean(element.matches?.("textarea, select, input:not([type=range], [type=checkbox])"));

// Enter switches a box: the space bar, which would, is STOP. It would otherwise send the form.
addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.repeat || !event.target.matches?.("input[type=checkbox]")) return;
  event.preventDefault();
  event.target.click();
});
