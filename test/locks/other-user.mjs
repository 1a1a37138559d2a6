/**
 * What another user of the machine can see of a server, and do to it: `other-user.mjs LOCKS PID`, with the folder of the locks
 * and the id of a process that has locks. Run as that user, as a text: the user need not be able to read this file. Prints
 * JSON: what it sees, and the error code of each attempt.
 */
import { openSync, watch } from 'node:fs'
import {
  access,
  chmod,
  mkdir,
  readdir,
  readFile,
  readlink,
  rename,
  rmdir,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'

/** O_PATH: a descriptor that needs no permission for the folder itself. */
const OpenPathOnly = 0o10000000

const [locks = '', pid = ''] = process.argv.slice(-2)

/** @param {() => unknown} attempt */
async function codeOf(attempt) {
  try {
    await attempt()
    return 'success'
  } catch (error) {
    return /** @type {NodeJS.ErrnoException} */ (error).code ?? String(error)
  }
}

/**
 * Connects, and asks for a lock.
 * @param {string} address
 */
const ask = (address) =>
  new Promise((resolve, reject) => {
    const socket = connect(address)
    socket.on('error', reject)
    socket.on('connect', () => socket.write('wait 0 "a"\n'))
    // A server answers or closes, except if the lock is held.
    const end = () => resolve(undefined)
    socket.setTimeout(1000, end).on('data', end).on('close', end)
  })

/** @param {string} address */
const listen = (address) =>
  new Promise((resolve, reject) =>
    createServer()
      .on('error', reject)
      .listen(address, () => resolve(undefined)),
  )

/** The addresses of the sockets that the kernel shows to all users. */
const table = await readFile('/proc/net/unix', 'utf8')
const sockets = table.split('\n').flatMap((line) => /@\S+$|\S+\.socket$/.exec(line)?.[0] ?? [])
const processes = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))

/** @param {string} path */
const textOf = async (path) => (await readFile(path, 'utf8').catch(() => '')).replaceAll('\0', ' ')
/** @param {string} path */
const namesIn = async (path) => (await readdir(path).catch(() => [])).join('\n')

const folders = [locks, join(locks, '..'), join(locks, '../..'), tmpdir(), '/dev/shm', '/run']
const seen = await Promise.all([
  table,
  ...folders.map(namesIn),
  // What `ps` shows, and more.
  ...processes.flatMap((each) =>
    ['cmdline', 'comm', 'environ', 'maps'].map((file) => textOf(`/proc/${each}/${file}`)),
  ),
])

const attempts = {
  list: () => readdir(locks),
  watch: () => watch(locks),
  enter: () => process.chdir(locks),
  find: () => access(`${locks}/a`),
  descriptors: () => readdir(`/proc/${pid}/fd`),
  link: () => readlink(`/proc/${pid}/fd/0`),
  root: () => readdir(`/proc/${pid}/root/`),
  createFile: () => writeFile(`${locks}/a`, ''),
  createFolder: () => mkdir(`${locks}/${'0'.repeat(32)}`),
  createLink: () => symlink('/tmp', `${locks}/a`),
  createSocket: () => listen(`${locks}/ABCDEF.socket`),
  moveIn: () => rename(process.execPath, `${locks}/a`),
  rename: () => rename(locks, `${locks}-other`),
  remove: () => rmdir(locks),
  open: () => chmod(locks, 0o777),
  signal: () => process.kill(Number(pid), 'SIGSTOP'),
}
/** @type {Record<string, string>} */
const refused = {}
for (const [name, attempt] of Object.entries(attempts)) refused[name] = await codeOf(attempt)

/**
 * The paths by which a socket may be reached: as the kernel shows it, or with a descriptor of the server or of the folder.
 * @param {string} address
 */
function pathsOf(address) {
  // An abstract address, in which the kernel shows a null character as `@`.
  if (address.startsWith('@')) return [address.replace(/@+$/, '').replaceAll('@', '\0')]
  const ownDescriptor = openSync(locks, OpenPathOnly)
  const others = [`/proc/self/fd/${ownDescriptor}/${basename(address)}`]
  if (address.startsWith('/proc/self/')) others.push(address.replace('self', pid))
  else others.push(address)
  return others
}

/** @type {Record<string, string>} */
const connections = {}
for (const path of sockets.flatMap(pathsOf)) connections[path] = await codeOf(() => ask(path))
console.log(JSON.stringify({ uid: process.getuid?.(), seen: seen.join('\n'), refused, connections }))
process.exit()
