import { inject } from 'vitest'

/** What a service's clients have to know; it is started by whoever asks first, and ends with the run of all tests. */
export async function access<T>(name: 'azurite' | 'ceph'): Promise<T> {
  const response = await fetch(`${inject('services')}/${name}`)
  if (!response.ok) throw new Error(`The service ${name} did not start: ${await response.text()}`)
  return (await response.json()) as T
}
