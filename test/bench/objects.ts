/**
 * Measures the speed and the cost of nodes over object services. After `npm run build`:
 *
 *     node --import tsx test/bench/objects.ts
 *
 * Nodes, clients and the service share one machine: the speeds depend on that machine, and more nodes are not
 * always faster. The processor time of a node for an upload does not include the others. Each figure is the
 * median of three.
 */
import { cpus } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import { CreateBucketCommand, S3Client, type S3ClientConfig } from '@aws-sdk/client-s3'
import { ContainerClient } from '@azure/storage-blob'
import { startAzurite } from '../services/azurite.ts'
import { startCeph } from '../services/ceph.ts'
import type { Service } from '../services/daemons.ts'
import { Child } from './objects/child.ts'
import type { Task, UploadResult } from './objects/load.ts'
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

/** The results: a description, and a figure for each engine. */
const table = new Map<string, string[]>()

function addResult(description: string, figure: number, digits = 0): void {
  console.error(`${description}: ${figure.toFixed(digits)}`)
  table.set(description, [...(table.get(description) ?? []), figure.toFixed(digits)])
}

/** Concurrent clients that upload files of one size. */
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

/** The nodes over one service. */
class Farm {
  readonly #env: NodeJS.ProcessEnv
  readonly #load = new Child('load')
  readonly nodes: Node[] = []

  constructor({ store }: Engine, { access }: Service) {
    this.#env = { STORE: store, ACCESS: JSON.stringify(access), BUCKET: bucket }
  }

  async add(): Promise<Node> {
    const child = new Child('node', this.#env)
    const node = { child, url: await child.request<string>('url') }
    this.nodes.push(node)
    return node
  }

  run<Result>(task: Task): Promise<Result> {
    return this.#load.request(task)
  }

  /** The processor time of all nodes so far. */
  async processorSeconds(): Promise<number> {
    const usages = await Promise.all(this.nodes.map(({ child }) => child.request<Usage>('usage')))
    return usages.reduce((sum, { seconds }) => sum + seconds, 0)
  }

  /**
   * @returns uploads a second to the first `count` nodes, and the processor time of the nodes for one upload
   */
  async upload({ clients, size, fragment }: Load, count: number): Promise<{ speed: number; cost: number }> {
    const nodes = this.nodes.slice(0, count).map(({ url }) => url)
    const runUploads = (seconds: number) =>
      this.run<UploadResult>({ task: 'upload', nodes, clients, size, fragment, seconds })
    // A warm-up.
    await runUploads(3)
    const runs: { speed: number; cost: number }[] = []
    while (runs.length < 3) {
      const before = await this.processorSeconds()
      const { uploads, seconds } = await runUploads(2)
      runs.push({ speed: uploads / seconds, cost: ((await this.processorSeconds()) - before) / uploads })
    }
    return { speed: median(runs.map(({ speed }) => speed)), cost: median(runs.map(({ cost }) => cost)) }
  }

  async end(): Promise<void> {
    await Promise.all([this.#load, ...this.nodes.map(({ child }) => child)].map((child) => child.kill()))
  }
}

/** Resolves when a node does nothing any more: requests that it has sent have ended. */
async function idle({ child }: Node): Promise<Usage> {
  for (let before = await child.request<Usage>('usage'); ; ) {
    await delay(1000)
    const now = await child.request<Usage>('usage')
    if (now.seconds - before.seconds < 0.1) return now
    before = now
  }
}

async function measureSpeed(farm: Farm): Promise<void> {
  for (let count = 1; count <= 3; count += 1) {
    await farm.add()
    const { speed, cost } = await farm.upload(tiny, count)
    addResult(`uploads of 1 KiB a second, 16 at a time, nodes: ${count}`, speed)
    addResult(`processor seconds of the nodes for 1,000 of them, nodes: ${count}`, cost * 1000, 1)
  }
  const ofSmall = await farm.upload(small, 1)
  addResult('uploads of 64 KiB a second, 16 at a time, nodes: 1', ofSmall.speed)
  addResult('processor seconds of the node for 1,000 of them', ofSmall.cost * 1000, 1)
  const ofLarge = await farm.upload(large, 1)
  addResult(
    'MB a second in fragments of 5 MiB, 8 uploads at a time, nodes: 1',
    (ofLarge.speed * large.size) / 1e6,
  )
  addResult('processor seconds of the node for 1 GB of them', (ofLarge.cost * 1e9) / large.size, 1)
}

/** Measures sessions that wait in the middle of a fragment. */
async function measureWaitingSessions(farm: Farm): Promise<void> {
  const node = await farm.add()
  await farm.run({ task: 'upload', nodes: [node.url], ...tiny, seconds: 2 })
  const before = await idle(node)
  addResult('MB of memory of a node at rest', before.memory / 1e6)
  const clients = 1000
  await farm.run({ task: 'begin', nodes: [node.url], clients, size: MiB, part: 100 * KiB })
  const after = await idle(node)
  const each = (after.memory - before.memory) / clients / KiB
  addResult('KiB of memory for each of 1,000 uploads that wait after 100 KiB of a fragment', each)
  const sweeps: number[] = []
  while (sweeps.length < 3) {
    const startedAt = performance.now()
    await node.child.request('sweep')
    sweeps.push((performance.now() - startedAt) / 1000)
  }
  addResult('seconds of a sweep that finds these 1,000 sessions', median(sweeps), 1)
  await node.child.kill()
  await farm.run({ task: 'end' })
}

/** Measures how long the sessions of killed nodes are unavailable. */
async function measureFailover(farm: Farm): Promise<void> {
  const [survivor, ...failing] = [await farm.add(), await farm.add(), await farm.add(), await farm.add()]
  const nodes = failing.map(({ url }) => url)
  await farm.run({ task: 'begin', nodes, clients: 3, size: MiB, part: 100 * KiB })
  await Promise.all(failing.map(idle))
  await Promise.all(failing.map(({ child }) => child.kill()))
  const seconds = await farm.run<number[]>({ task: 'repeat', node: survivor?.url ?? '' })
  addResult('seconds until a fragment whose node was killed is answered by another node', median(seconds), 1)
}

for (const engine of engines) {
  const service = await engine.start()
  const farm = new Farm(engine, service)
  try {
    await engine.createBucket(service.access)
    await measureSpeed(farm)
    await measureWaitingSessions(farm)
    await measureFailover(farm)
  } finally {
    await farm.end()
    await service.end()
  }
}
console.log(`Node ${process.version}, ${cpus().length} × ${cpus()[0]?.model}\n`)
console.log(`| | ${engines.map(({ name }) => name).join(' | ')} |\n| --- | --- | --- |`)
for (const [description, figures] of table) console.log(`| ${[description, ...figures].join(' | ')} |`)
