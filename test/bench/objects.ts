/**
 * Measures nodes over object services: how much they get done here, and what they take for it. After `npm run build`:
 *
 *     node --import tsx test/bench/objects.ts
 *
 * Nodes, clients and the service share one machine, so that the speeds are what this machine can do, and more nodes need
 * not be faster. What a node takes for an upload is its own. Each figure is the median of three.
 */
import { cpus } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import { CreateBucketCommand, S3Client, type S3ClientConfig } from '@aws-sdk/client-s3'
import { ContainerClient } from '@azure/storage-blob'
import { startAzurite } from '../services/azurite.ts'
import { startCeph } from '../services/ceph.ts'
import type { Service } from '../services/service.ts'
import { Child } from './objects/child.ts'
import type { Task, Uploaded } from './objects/load.ts'
import type { Usage } from './objects/node.ts'

const [KiB, MiB, bucket] = [2 ** 10, 2 ** 20, 'benchmark']

interface Engine {
  readonly name: string
  readonly store: 'azure' | 's3'
  start(): Promise<Service>
  createBucket(access: unknown): Promise<unknown>
}

const engines: readonly Engine[] = [
  {
    name: 'Azurite',
    store: 'azure',
    start: startAzurite,
    createBucket: (access) => new ContainerClient(access as string, bucket).create(),
  },
  {
    name: 'Ceph',
    store: 's3',
    start: startCeph,
    createBucket: (access) =>
      new S3Client(access as S3ClientConfig).send(new CreateBucketCommand({ Bucket: bucket })),
  },
]

const median = (figures: readonly number[]): number =>
  [...figures].sort((a, b) => a - b)[Math.floor(figures.length / 2)] ?? Number.NaN

/** What was measured, of each engine in turn. */
const table = new Map<string, string[]>()

function tell(what: string, figure: number, digits = 0): void {
  console.error(`${what}: ${figure.toFixed(digits)}`)
  table.set(what, [...(table.get(what) ?? []), figure.toFixed(digits)])
}

/** Clients that upload files of one size. */
interface Load {
  readonly clients: number
  readonly size: number
  readonly fragment: number
}

const tiny: Load = { clients: 16, size: KiB, fragment: KiB }
const small: Load = { clients: 16, size: 64 * KiB, fragment: 64 * KiB }
const large: Load = { clients: 8, size: 10 * MiB, fragment: 5 * MiB }

interface Node {
  readonly child: Child
  readonly url: string
}

/** Nodes on a service. */
class Farm {
  readonly #env: NodeJS.ProcessEnv
  readonly #load = new Child('load')
  readonly nodes: Node[] = []

  constructor({ store }: Engine, { access }: Service) {
    this.#env = { STORE: store, ACCESS: JSON.stringify(access), BUCKET: bucket }
  }

  async add(): Promise<Node> {
    const child = new Child('node', this.#env)
    const node = { child, url: await child.ask<string>('url') }
    this.nodes.push(node)
    return node
  }

  do<Result>(task: Task): Promise<Result> {
    return this.#load.ask(task)
  }

  /** The processor time that all nodes have taken. */
  async seconds(): Promise<number> {
    const usages = await Promise.all(this.nodes.map(({ child }) => child.ask<Usage>('usage')))
    return usages.reduce((sum, { seconds }) => sum + seconds, 0)
  }

  /** @returns uploads a second to the first so many nodes, and the nodes' processor time for one */
  async upload({ clients, size, fragment }: Load, count: number): Promise<{ speed: number; cost: number }> {
    const nodes = this.nodes.slice(0, count).map(({ url }) => url)
    const run = (seconds: number) =>
      this.do<Uploaded>({ task: 'upload', nodes, clients, size, fragment, seconds })
    // Everything is slower the first time.
    await run(3)
    const runs: { speed: number; cost: number }[] = []
    while (runs.length < 3) {
      const before = await this.seconds()
      const { uploads, seconds } = await run(2)
      runs.push({ speed: uploads / seconds, cost: ((await this.seconds()) - before) / uploads })
    }
    return { speed: median(runs.map(({ speed }) => speed)), cost: median(runs.map(({ cost }) => cost)) }
  }

  async end(): Promise<void> {
    await Promise.all([this.#load, ...this.nodes.map(({ child }) => child)].map((child) => child.kill()))
  }
}

/** Resolves when a node has nothing to do but its heartbeat. */
async function rest({ child }: Node): Promise<Usage> {
  for (let before = await child.ask<Usage>('usage'); ; ) {
    await delay(1000)
    const now = await child.ask<Usage>('usage')
    if (now.seconds - before.seconds < 0.1) return now
    before = now
  }
}

async function measureSpeed(farm: Farm): Promise<void> {
  for (let count = 1; count <= 3; count += 1) {
    await farm.add()
    const { speed, cost } = await farm.upload(tiny, count)
    tell(`uploads of 1 KiB a second, 16 at a time, nodes: ${count}`, speed)
    tell(`processor seconds of the nodes for 1,000 of them, nodes: ${count}`, cost * 1000, 1)
  }
  const ofSmall = await farm.upload(small, 1)
  tell('uploads of 64 KiB a second, 16 at a time, nodes: 1', ofSmall.speed)
  tell('processor seconds of the node for 1,000 of them', ofSmall.cost * 1000, 1)
  const ofLarge = await farm.upload(large, 1)
  tell('MB a second in fragments of 5 MiB, 8 uploads at a time, nodes: 1', (ofLarge.speed * large.size) / 1e6)
  tell('processor seconds of the node for 1 GB of them', (ofLarge.cost * 1e9) / large.size, 1)
}

/** Sessions that wait in the middle of a fragment. */
async function measureSlow(farm: Farm): Promise<void> {
  const node = await farm.add()
  await farm.do({ task: 'upload', nodes: [node.url], ...tiny, seconds: 2 })
  const before = await rest(node)
  tell('MB of memory of a node at rest', before.memory / 1e6)
  const clients = 1000
  await farm.do({ task: 'begin', nodes: [node.url], clients, size: MiB, part: 100 * KiB })
  const after = await rest(node)
  const each = (after.memory - before.memory) / clients / KiB
  tell('KiB of memory for each of 1,000 uploads that have sent 100 KiB of a fragment, and wait', each)
  const sweeps: number[] = []
  while (sweeps.length < 3) {
    const begun = performance.now()
    await node.child.ask('sweep')
    sweeps.push((performance.now() - begun) / 1000)
  }
  tell('seconds of a sweep that finds these 1,000 sessions', median(sweeps), 1)
  await node.child.kill()
  await farm.do({ task: 'end' })
}

async function measureDeath(farm: Farm): Promise<void> {
  const [heir, ...dying] = [await farm.add(), await farm.add(), await farm.add(), await farm.add()]
  const nodes = dying.map(({ url }) => url)
  await farm.do({ task: 'begin', nodes, clients: 3, size: MiB, part: 100 * KiB })
  await Promise.all(dying.map(rest))
  await Promise.all(dying.map(({ child }) => child.kill()))
  const answered = await farm.do<number[]>({ task: 'repeat', node: heir?.url ?? '' })
  tell('seconds until a fragment is answered whose node was killed in the midst of it', median(answered), 1)
}

for (const engine of engines) {
  const service = await engine.start()
  const farm = new Farm(engine, service)
  try {
    await engine.createBucket(service.access)
    await measureSpeed(farm)
    await measureSlow(farm)
    await measureDeath(farm)
  } finally {
    await farm.end()
    await service.end()
  }
}
console.log(`Node ${process.version}, ${cpus().length} × ${cpus()[0]?.model}\n`)
console.log(`| | ${engines.map(({ name }) => name).join(' | ')} |\n| --- | --- | --- |`)
for (const [what, figures] of table) console.log(`| ${[what, ...figures].join(' | ')} |`)
