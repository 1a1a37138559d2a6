export default function Page() {
  return <p>Uploads go to /upload/.</p>
}
