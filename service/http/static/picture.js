// Turns a file that the browser can show into a picture that the server takes.

const TAKEN = ["image/jpeg", "image/png", "image/webp"];
const BYTES = 2 << 20;
const SIDE = 1024;

const asUri = (blob) => new Promise((done, failed) => {
  const reader = new FileReader();
  reader.onload = () => done(reader.result);
  reader.onerror = () => failed(reader.error);
  reader.readAsDataURL(blob);
});

// A data URI; pictures of other kinds, and large ones, are drawn anew at a moderate size.
export async function readPicture(file) {
  if (TAKEN.includes(file.type) && file.size <= BYTES) return asUri(file);
  const bitmap = await createImageBitmap(file);
  const scale = Math.min(1, SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL("image/jpeg", 0.92);
}

export const pictureIn = (data) => [...(data?.files ?? [])].find((file) => file.type.startsWith("image/"));
