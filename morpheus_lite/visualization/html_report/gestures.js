// Mouse, touch and keys on the picture.

function attachGestures(viewer, { onplace, onpick, onkey }) {
  const surface = viewer.top;
  const pointers = new Map();
  let [travelled, pinch] = [0, null];
  const placeOfEvent = (event) => {
    const box = surface.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };

  surface.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    surface.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, placeOfEvent(event));
    if (pointers.size === 1) travelled = 0;
    pinch = null;
    if (pointers.size === 2) pinched([...pointers.values()]);
  });

  surface.addEventListener("pointermove", (event) => {
    const [x, y] = placeOfEvent(event);
    const before = pointers.get(event.pointerId);
    if (before) {
      pointers.set(event.pointerId, [x, y]);
      if (pointers.size === 1) drag(x - before[0], y - before[1]);
      else if (pointers.size === 2) pinched([...pointers.values()]);
    }
    if (event.isPrimary) onplace(x, y);
  });

  function drag(dx, dy) {
    travelled += Math.hypot(dx, dy);
    if (travelled > 4) viewer.pan(dx, dy); // a click may tremble
  }

  function pinched([[ax, ay], [bx, by]]) {
    const now = { x: (ax + bx) / 2, y: (ay + by) / 2, span: Math.hypot(ax - bx, ay - by) || 1 };
    if (pinch) {
      viewer.pan(now.x - pinch.x, now.y - pinch.y);
      viewer.zoomBy(now.span / pinch.span, now.x, now.y);
    }
    pinch = now;
    travelled = Infinity;
  }

  for (const name of ["pointerup", "pointercancel"]) {
    surface.addEventListener(name, (event) => {
      const wasDown = pointers.delete(event.pointerId);
      pinch = null;
      if (wasDown && name === "pointerup" && !pointers.size && travelled <= 4) onpick(...placeOfEvent(event));
    });
  }
  surface.addEventListener("pointerleave", () => onplace(null, null));

  surface.addEventListener("wheel", (event) => {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 16 : 1;
    // A trackpad's pinch comes as a wheel with the control key, in smaller steps.
    const speed = event.ctrlKey ? 0.01 : 0.0016;
    viewer.zoomBy(Math.exp(-speed * lines * Math.max(-300, Math.min(300, event.deltaY))), ...placeOfEvent(event));
  }, { passive: false });

  surface.addEventListener("dblclick", (event) => viewer.isPlacing || viewer.zoomBy(event.shiftKey ? 0.5 : 2, ...placeOfEvent(event)));

  const keys = {
    ArrowLeft: () => viewer.pan(60, 0), ArrowRight: () => viewer.pan(-60, 0),
    ArrowUp: () => viewer.pan(0, 60), ArrowDown: () => viewer.pan(0, -60),
    "+": () => viewer.zoomBy(1.4), "=": () => viewer.zoomBy(1.4), "-": () => viewer.zoomBy(1 / 1.4), 0: () => viewer.fit(),
  };
  surface.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (keys[event.key]) keys[event.key]();
    else if (!onkey(event.key)) return;
    event.preventDefault();
    viewer.showsCentre = true;
    onplace(viewer.stage.clientWidth / 2, viewer.stage.clientHeight / 2);
  });
  surface.addEventListener("blur", () => {
    viewer.showsCentre = false;
    viewer.redrawTop();
  });
  surface.addEventListener("pointerdown", () => {
    viewer.showsCentre = false;
  });
}
